"""Reader studies: people look at images, one form, their answers, what they are worth."""
