"""The sentences of the report page. Every number and every verdict in them is read from the result files."""

from collections.abc import Mapping, Sequence

from synthmed.report.references import HEADER, Document
from synthmed.report.results import Arm, estimate, real_arm

VERDICTS = ("helps", "no evidence of a difference", "harms")


def joined(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def counted(count: int, one: str, many: str) -> str:
    """`1 generator`, `3 generators`, `1,200 generators`."""
    return f"{count:,} {one if count == 1 else many}"


def percent(share: float) -> str:
    """`3.4 %`."""
    return f"{100 * share:.1f} %"


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def interval(node: Mapping, key: str) -> str:
    """`0.812 (95 % interval 0.770 to 0.850)`, or the reason why there is none."""
    found = estimate(node, key)
    if found.value is None:
        return f"not computed ({found.note})"
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} (95 % interval {found.low:.3f} to {found.high:.3f})"


class Words:
    """The page's sentences for one experiment.

    settings: PageSettings; document: whose numbers stand beside ours, if any; arms: see read_arms; summary, verdicts,
    audits, validation, split: parsed result files; trainings: settings of the training steps.
    """

    def __init__(
        self,
        settings,
        *,
        document: Document | None,
        arms: Mapping[str, Arm],
        summary: Mapping,
        verdicts: Mapping,
        audits: Sequence[Mapping],
        validation: Mapping | None,
        split: Mapping,
        trainings: Sequence[Mapping],
    ):
        self.settings, self.arms, self.summary = settings, arms, summary
        self.verdicts, self.audits = verdicts, audits
        self.validation, self.split, self.trainings = validation, split, trainings
        self.results = verdicts["arms"]
        self.real = real_arm(arms)
        self.document = document

    def by_section(self) -> dict[str, list[str]]:
        """Paragraphs of the page's own sections, by their keys."""
        return {
            "question": self.question(),
            "answer": self.answer(),
            "data": self.data(),
            "methods": self.methods(),
            "quality": self.quality(),
            "task": self.task(),
            "sharing": self.sharing(),
            "validation": self.validated(),
            "limits": self.limits(),
            "provenance": [],
        }

    def _arms(self, *kinds: str) -> list[str]:
        return [arm for arm, entry in self.arms.items() if entry.kind in kinds]

    def _effect(self, arm: str) -> str:
        versus = self.results[arm]["versus_real"]
        found = estimate(versus, "auroc_difference")
        if found.value is None:
            return f"{self.arms[arm].title} (not computed: {found.note})"
        return (
            f"{self.arms[arm].title} ({signed(found.value)}, 95 % interval {signed(found.low)} to {signed(found.high)})"
        )

    # ------------------------------------------------------------------------------------------------- front matter
    def subtitle(self) -> str:
        places = {
            "phantom": "phantom images with known truth",
            "download": "public data",
            "kaggle": "public data",
            "file": "images from a file of the user",
            "folder": "images from a folder of the user",
        }
        return (
            f"{counted(len(self.settings.generators), 'generator', 'generators')}, "
            f"{counted(len(self.arms), 'training set', 'training sets')} compared on the same real test images · "
            f"{places[self.settings.provider]} · computed by synthmed"
        )

    def question(self) -> list[str]:
        return [
            f"A classifier {self.settings.task}. Real images are few. If a generative adversarial network (GAN) "
            "learns from them to make more, does a classifier trained on real and generated images together do "
            "better on real images that nobody has seen? And does the generated set give away the images it was "
            "learnt from?",
            "Earlier studies answered by training once and comparing two accuracies. Here every comparison is "
            "repeated over several seeds, has an interval and a test, stands beside a control that adds no new "
            "information (the same real images a second time), and the procedure that gives the verdict is itself "
            "tested where the truth is known.",
        ]

    def answer(self) -> list[str]:
        arms = self._arms("generator")
        helps, unclear, harms = (
            [arm for arm in arms if self.results[arm]["versus_real"]["verdict"] == verdict] for verdict in VERDICTS
        )
        sentences = [self._answer_in_short(len(arms), len(helps), len(unclear), len(harms))]
        for words, members in (("Helps", helps), ("No evidence of a difference", unclear), ("Harms", harms)):
            if members:
                sentences.append(f"{words}: {joined([self._effect(arm) for arm in members])}.")
        if arms:
            sentences.append(
                "The numbers are differences in AUROC on real test images from the classifier trained on real "
                f"images only, whose AUROC is {interval(self.results[self.real], 'auroc')}."
            )
        if unclear:
            same = [self.arms[arm].title for arm in unclear if self.results[arm]["versus_real"]["equivalent"]]
            sentences[-1] += (
                " No evidence of a difference is not proof of none: the interval shows what may have been missed."
            )
            if same:
                sentences[-1] += f" Shown to lie within ±{self.verdicts['margin']:g} of it: {joined(same)}."
        for arm in self._arms("duplicates"):
            verdict = self.results[arm]["versus_real"]["verdict"]
            sentences.append(
                f"The control that adds as many real images a second time instead: {verdict}, {self._effect(arm)}. "
                "What generated images achieve counts only beyond this."
            )
        for arm in self._arms("oracle"):
            sentences.append(
                "For comparison, as many fresh images from the true distribution, which a perfect generator would "
                f"make: {self.results[arm]['versus_real']['verdict']}, {self._effect(arm)}."
            )
        sentences.append(self._copies_in_short())
        return sentences

    def _answer_in_short(self, total: int, helps: int, unclear: int, harms: int) -> str:
        if not total:
            return "No generator's images were added to the real ones in this run."
        if helps and total == 1:
            return "Yes: adding the generator's images to the real ones helps the classifier."
        if helps:
            return f"Yes, for {helps} of {total} generators: adding their images to the real ones helps the classifier."
        if harms == total:
            return f"No: adding generated images harms the classifier ({counted(total, 'generator', 'generators')})."
        if total == 1:
            return "Not shown: it is not shown that the generator's added images help the classifier."
        return (
            f"Not shown: with none of {counted(total, 'generator', 'generators')} do added images help the "
            f"classifier{f', with {harms} they harm it' if harms else ''}."
        )

    def _copies_in_short(self) -> str:
        if not self.audits:
            return "Whether the generated sets hold copies of training images was not audited in this run."
        # More than chance: in either space, corrected for two spaces and all generators.
        alarms = [
            audit
            for audit in self.audits
            if min(space["p"] for space in audit["by_space"].values()) * 2 * len(self.audits) <= self.verdicts["alpha"]
        ]
        exact = [
            f"{audit['identical']:,} of {audit['n_fake']:,} images of "
            f"{self.settings.generators[audit['generator']].title}"
            for audit in self.audits
            if audit["identical"]
        ]
        copies = ""
        if exact:
            copies = f"The copy audit finds copies: {joined(exact)} equal a training image. Do not share them. "
        if not alarms:
            return copies.strip() or (
                "The copy audit found no generated set that lies nearer to its training images than real images of "
                "other patients do."
            )
        named = [
            f"{self.settings.generators[audit['generator']].title} "
            f"({percent(estimate(audit, 'suspect_share').value)} of its images, about "
            f"{percent(sum(space['expected_share'] for space in audit['by_space'].values()))} at most by chance)"
            for audit in alarms
        ]
        return (
            f"{copies}The copy audit finds more images close to a training image than chance explains: "
            f"{joined(named)}. Look at the pairs before you share such a set."
        )

    # --------------------------------------------------------------------------------------------------------- body
    def data(self) -> list[str]:
        counts, patients = self.split["counts"], self.split["patients"]
        parts = [
            f"{name} {counted(sum(counts[part].values()), 'image', 'images')} of "
            f"{counted(patients[part], 'patient', 'patients')}"
            for part, name in (("train", "training"), ("validation", "validation"), ("test", "test"))
        ]
        where = {
            "phantom": "The images are drawn by a program, in the file formats of the real data.",
            "download": "The images are public data, downloaded from their publishers.",
            "kaggle": "The images are public data, downloaded from Kaggle.",
            "file": "The images come from a file of the user.",
            "folder": "The images come from a folder of the user.",
        }
        paragraphs = [
            f"{where[self.settings.provider]} They were divided by patient: {joined(parts)}. Generators and "
            "classifiers learn from the training part; settings are chosen on the validation part; the test part "
            "is used once, for the results."
        ]
        found = self.split["near_duplicates"]
        if found["across_parts"]:
            paragraphs.append(
                f"Attention: {counted(found['across_parts'], 'pair', 'pairs')} of near-identical images of "
                f"different patients lie in different parts ({found['rule']}; action: {found['action']}), so test "
                "results may be too good."
            )
        else:
            paragraphs.append(f"No two parts share near-identical images ({found['rule']}).")
        return paragraphs

    def methods(self) -> list[str]:
        sentences = []
        for training in self.trainings:
            loop = training["training"]
            images = counted(loop["batch_size"] * loop["accumulate"], "image", "images")
            most = "at most " if training["config"].get("batch_limits") else ""  # fewer where it grows to large images
            sentences.append(
                f"{training['model']} ({joined(list(training['labels']))}): {loop['steps']:,} steps of {most}{images}"
            )
        paragraphs = [
            "Every generator learns from the training part only. "
            + (f"Trainings: {'; '.join(sentences)}." if sentences else "")
        ]
        chosen = self.summary
        paragraphs.append(
            f"The classifier is {chosen['backbone']} with frozen weights, then BatchNorm, global average pooling, "
            f"dropout and a dense layer; Adam with learning rate {chosen['learning_rate']:g}, dropout "
            f"{chosen['dropout']:g}, {chosen['steps']:,} steps of {chosen['batch_size']} images, {chosen['seeds']} "
            f"seeds for every training set (arm). {chosen['selection']}"
        )
        paragraphs.append(
            self.verdicts["rule"]
            + " Beside it the result file gives a bootstrap over patients and seeds, DeLong's test, and "
            "McNemar's test of the decisions."
        )
        return paragraphs

    def quality(self) -> list[str]:
        return [
            "Fréchet and kernel inception distance (FID, KID) measure how far the generated images are from the "
            "real ones as a whole; FID∞ extrapolates to unlimited images, because FID grows when images are few. "
            "Precision and density ask whether generated images look real, recall and coverage whether they are as "
            "varied. None has a meaning alone: the floor is the same measure between real and other real images, "
            "the best that any generator can reach here.",
            "Low distances do not imply a better classifier. Whether the images help is measured in the next section.",
        ]

    def task(self) -> list[str]:
        parts = [
            "the choice of settings",
            *(["classic augmentation"] if self._arms("classic") else []),
            *(["the share of generated images"] if self._arms("sweep") else []),
            "the curves behind the numbers",
        ]
        return [
            f"The main result is Table 1 above. Here is what it rests on: {joined(parts)}. The positive class is "
            f"“{self.settings.positive}”."
        ]

    def sharing(self) -> list[str]:
        paragraphs = [
            "A generator that memorises hands out its training images. For every generated image the audit finds "
            "the nearest training image, in feature space and in pixels. The yardstick is how near held-out real "
            "images, of other patients, lie to the same training images: what is nearer than nearly all of them is "
            "a suspect. Some suspects are expected by chance; the table gives that share and the chance p of so "
            "many.",
            self._copies_in_short(),
        ]
        translated = [audit for audit in self.audits if audit["nearest_is_origin"] is not None]
        if translated:
            named = [
                f"{self.settings.generators[audit['generator']].title} {percent(audit['nearest_is_origin']['value'])}"
                for audit in translated
            ]
            paragraphs.append(
                "Translated images are edited images of real patients. Share whose nearest training image is the "
                f"very one they were made from: {joined(named)}. The higher it is, the more sharing the set is like "
                "sharing the originals."
            )
        paragraphs.append(
            "An audit of this kind finds copies. It is no proof of privacy: it cannot exclude that a person is "
            "recognisable in an image that is no copy, and it gives no formal guarantee."
        )
        return paragraphs

    def limits(self) -> list[str]:
        found = []
        if self.settings.provider == "phantom":
            found.append(
                "The images are phantoms. These results show that the method can tell help from harm; they say "
                "nothing about patients, and nothing about whether these generators help with real X-rays."
            )
        found += [
            f"The test part has {self.verdicts['test_images']} images of {self.verdicts['test_patients']} patients. "
            "Effects smaller than the intervals are wide cannot be seen.",
            "Distances between sets depend on the feature extractor; each table names the one it used. Numbers from "
            "different extractors cannot be compared with one another, nor with those of other studies.",
            "The verdict is about this classifier, this amount of data and these training lengths.",
        ]
        if self.document:
            found.append(
                f"Columns headed “{HEADER}” repeat what another study printed for other images at another scale: "
                f"{self.document.citation}. They are for orientation. They are no target and no test of these "
                "results."
            )
        return found

    def validated(self) -> list[str]:
        if self.validation is None:
            return [
                "The verdict was not validated in this run: that needs a pool of further images from the very "
                "distribution of the data, which only phantoms can have. The procedure is the same in every "
                "experiment, and how often it is right stands in the report of one with such a pool."
            ]
        sentences = []
        for case in self.validation["cases"]:
            found = case["verdicts"][case["expected"]]
            sentences.append(
                f"{case['case']}: “{case['expected']}” in {found['count']} of {case['repeats']} repeats, rate "
                f"{interval(found, 'rate')}."
            )
        false = self.validation["false_helps"]
        level = (
            "The rate is compatible with that level."
            if false["holds"]
            else "The rate is above that level: do not trust a “helps” of this run."
        )
        return [
            f"The same test and the same rule were applied {self.validation['repeats']} times to new phantom "
            "patients, with training sets whose effect is known: fresh true images must help, repeated images and "
            "mere other seeds must make no difference, wrongly labelled images must harm.",
            " ".join(sentences),
            f"A false “helps” in any of the arms without an effect occurred in {false['count']} of "
            f"{self.validation['repeats']} repeats, rate {interval(false, 'rate')}; the rule promises at most "
            f"{false['nominal']:.3f}. {level}",
        ]
