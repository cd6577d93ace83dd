/// What pages do: sorting, sliders, notes at the pointer. Without it they can be read all the same.
enum PageScript {
  static let code = #"""
    "use strict";
    (() => {
      const all = (query, within = document) => [...within.querySelectorAll(query)];
      const number = (text) => text === "inf" ? Infinity : text === "-inf" ? -Infinity : parseFloat(text);

      // Tables: a click on a column's name sorts by it, a second one the other way; what is missing stays last.
      for (const table of all("table.sortable")) {
        const heads = all("thead th", table), body = table.tBodies[0];
        heads.forEach((head, column) => all("button", head).forEach((button) => button.addEventListener("click", () => {
          const before = head.getAttribute("aria-sort");
          const order = before ? (before === "ascending" ? "descending" : "ascending") : head.dataset.first || "ascending";
          heads.forEach((other) => other.removeAttribute("aria-sort"));
          head.setAttribute("aria-sort", order);
          const sign = order === "ascending" ? 1 : -1, isText = head.dataset.kind === "text";
          const key = (row) => row.cells[column].dataset.value ?? "";
          const rows = [...body.rows].sort((a, b) => {
            const [x, y] = [key(a), key(b)];
            if (isText) return sign * x.localeCompare(y, "en", { numeric: true });
            const [p, q] = [number(x), number(y)];
            if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q);
            return p === q ? 0 : sign * (p < q ? -1 : 1);
          });
          body.append(...rows);
        })));
      }

      // Sliders: the frame of an exhibit's clips, the size of a section's pictures.
      for (const slider of all("input[data-frame-labels]")) {
        const labels = slider.dataset.frameLabels.split(" "), exhibit = slider.closest(".exhibit");
        const show = () => {
          exhibit.style.setProperty("--frame", slider.value);
          exhibit.querySelector("output").textContent = labels[slider.value];
        };
        slider.addEventListener("input", show);
        show();
      }
      for (const slider of all("input[data-tile]")) {
        slider.addEventListener("input", () =>
          slider.closest("section").style.setProperty("--tile", slider.value + "px"));
      }

      // A picture that is held shows the dense one in its place.
      for (const film of all(".film[data-reference]")) {
        const image = film.querySelector("img"), own = image.src;
        const hold = () => {
          image.src = document.getElementById(film.dataset.reference).querySelector("img").src;
          film.classList.add("held");
        };
        const release = () => { image.src = own; film.classList.remove("held"); };
        film.addEventListener("pointerdown", hold);
        for (const end of ["pointerup", "pointerleave", "pointercancel", "blur", "keyup"]) {
          film.addEventListener(end, release);
        }
        film.addEventListener("keydown", (event) => {
          if (event.key !== " " && event.key !== "Enter") return;
          event.preventDefault();
          hold();
        });
        film.addEventListener("contextmenu", (event) => event.preventDefault());
      }

      // Heat maps: the value under the pointer.
      for (const figure of all(".heat")) {
        const map = figure.querySelector("image"), output = figure.querySelector("output");
        const values = figure.dataset.values.split(" "), columns = Number(figure.dataset.columns);
        const rows = values.length / columns, resting = output.textContent;
        map.addEventListener("pointermove", (event) => {
          const box = map.getBoundingClientRect();
          const column = Math.min(columns - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * columns)));
          const row = Math.min(rows - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * rows)));
          output.textContent = `layer ${row}, ${figure.dataset.column} ${column}: ${values[row * columns + column]}`;
        });
        map.addEventListener("pointerleave", () => { output.textContent = resting; });
      }

      // Points of plots say at once what browsers would say after a while.
      const tip = document.createElement("div");
      tip.id = "tip";
      tip.hidden = true;
      document.body.append(tip);
      for (const point of all(".point")) {
        const title = point.querySelector("title"), text = title.textContent;
        point.setAttribute("aria-label", text);
        title.remove();
        const show = () => {
          tip.textContent = text;
          tip.hidden = false;
          const box = point.getBoundingClientRect(), room = document.documentElement.clientWidth;
          const left = Math.min(Math.max(box.left + box.width / 2 - tip.offsetWidth / 2, 6), room - tip.offsetWidth - 6);
          const above = box.top - tip.offsetHeight - 8;
          tip.style.left = left + window.scrollX + "px";
          tip.style.top = (above > 50 ? above : box.bottom + 8) + window.scrollY + "px";
        };
        point.addEventListener("pointerenter", show);
        point.addEventListener("pointerleave", () => { tip.hidden = true; });
      }
    })();
    """#
}
