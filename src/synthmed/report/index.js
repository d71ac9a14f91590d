// The leaderboard sorted by a click on a heading, or by the heading's place in the address (index.html#sort=4).
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const value = (row, place) => row.cells[place].dataset.sort;
  const group = (row, place) => row.cells[place].dataset.group ?? ""; // only numbers of one are compared
  const sort = (place) => {
    const descending = headings[place].getAttribute("aria-sort") !== "descending";
    headings.forEach((heading) => heading.removeAttribute("aria-sort"));
    headings[place].setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    const numbers = rows.every((row) => value(row, place) === "" || !isNaN(value(row, place)));
    rows.sort((a, b) => {
      const apart = group(a, place).localeCompare(group(b, place));
      if (apart) return apart;
      const [x, y] = [value(a, place), value(b, place)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what is not known comes last
      const order = numbers ? x - y : x.localeCompare(y);
      return descending ? -order : order;
    });
    table.tBodies[0].append(...rows);
  };
  headings.forEach((heading, place) => heading.firstChild.addEventListener("click", () => sort(place)));
  const asked = location.hash.match(/^#sort=(\d+)$/);
  if (asked && asked[1] < headings.length) sort(Number(asked[1]));
}
