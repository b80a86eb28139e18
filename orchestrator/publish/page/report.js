"use strict";
(() => {
  const CLASS = 0, BASE = 1, PATCHED = 2, LANES = 3, SUITE = 4, NAME = 5, NOTE = 6;
  const PAGE = 50, UNMET = /^[\w-]+: unmet(;|$)/;
  const byId = (id) => document.getElementById(id);
  const element = (tag, className, ...children) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };

  // ---- what there is: rows of the page, and lines of the lists

  const table = byId("rows");
  const lists = document.querySelectorAll(".list");
  const unpacked = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  };
  const listed = [...document.querySelectorAll(".list pre")].flatMap((list) => {
    const ids = list.dataset.ids.split(" "), changed = list.parentElement.id === "list-changed";
    let details;
    const opened = async (place) => (await (details ??= unpacked(list.dataset.details)))[place];
    return list.textContent.replace(/\n+$/, "").split("\n").map((words, place) => ({ words, id: ids[place], changed, opened: () => opened(place) }));
  });
  const shown = table ? [...table.tBodies].map((body) => ({ words: body.dataset.words, id: body.id, body, changed: true })) : [];
  const records = [...shown, ...listed].map((record, order) => ({ ...record, order, columns: record.words.split("\t") }));
  const lanesOf = (record) => record.columns[LANES].split(", ").map((lane) => {
    const [arch, ...flavour] = lane.split("-");
    return { arch, flavour: flavour.join("-") };
  });

  // ---- a row for a line, made when it is first shown

  const opening = (record, row) => {
    const box = element("details", "switch", element("summary", "", "open", element("span", "unseen", ` of ${record.columns[NAME]}`)));
    box.addEventListener("toggle", async () => { row.cells[0].innerHTML ||= await record.opened(); });
    return box;
  };

  const seen = (text) => {
    const [outcome, ...of] = text.split(" ");
    const cell = element("td", "", element("span", `outcome is-${outcome}`, outcome));
    if (of.length) cell.append(" ", element("span", "of", of.join(" ")));
    return cell;
  };

  const made = (record) => {
    const [kind, base, patched, lanes, suite, name, note] = record.columns;
    const link = element("a", "anchor", "#");
    link.href = `#${record.id}`;
    link.ariaLabel = `link to ${name}`;
    const head = element("th", "name", element("span", "suite", `${suite}/`), name, " ", link);
    head.scope = "row";
    const opened = element("tr", "opened", element("td"));
    opened.cells[0].colSpan = 7;
    const cells = [element("td", "", element("span", `tag is-${kind}`, kind)), head, element("td", "where", lanes),
      seen(base), seen(patched), element("td", `notes ${UNMET.test(note) ? "is-unmet" : "quiet"}`, note),
      element("td", "", opening(record, opened))];
    const body = element("tbody", "test", element("tr", "", ...cells), opened);
    body.id = record.id;
    return body;
  };

  // ---- what is asked for: filters and order

  const inputs = Object.fromEntries(["text", "kind", "outcome", "arch", "flavour", "suite"].map((id) => [id, byId(`filter-${id}`)]));
  const asked = (id) => inputs[id]?.value ?? "";
  let order = { column: CLASS, down: false };
  let most = PAGE;

  const fits = (record, words) => {
    const { columns } = record;
    const kind = asked("kind");
    record.text ??= record.words.toLowerCase();
    return (kind === "changed" ? record.changed : !kind || columns[CLASS] === kind)
      && (!asked("suite") || columns[SUITE] === asked("suite"))
      && (!asked("outcome") || [BASE, PATCHED].some((side) => columns[side].split(" ")[0] === asked("outcome")))
      && (!(asked("arch") || asked("flavour")) || lanesOf(record).some((lane) =>
        (!asked("arch") || lane.arch === asked("arch")) && (!asked("flavour") || lane.flavour === asked("flavour"))))
      && words.every((word) => record.text.includes(word));
  };

  const { compare } = new Intl.Collator("en", { numeric: true });
  const key = { [SUITE]: (record) => `${record.columns[SUITE]}/${record.columns[NAME]}` };
  const sorted = (found) => {
    const text = key[order.column] ?? ((record) => record.columns[order.column]);
    const by = order.column === CLASS ? (a, b) => a.order - b.order : (a, b) => compare(text(a), text(b)) || a.order - b.order;
    return found.sort(order.down ? (a, b) => by(b, a) : by);
  };

  const show = () => {
    const words = asked("text").toLowerCase().split(/\s+/).filter(Boolean);
    const found = sorted(records.filter((record) => fits(record, words)));
    [...table.tBodies].forEach((body) => body.remove());
    table.append(...found.slice(0, most).map((record) => (record.body ??= made(record))));
    byId("filter-count").textContent = `${found.length} of ${records.length} rows`;
    byId("rows-more").hidden = found.length <= most;
    byId("rows-more").textContent = `Show ${Math.min(PAGE, found.length - most)} more`;
  };

  const sortable = (head, column) => {
    const button = element("button", "sort", head.textContent);
    button.type = "button";
    button.addEventListener("click", () => {
      order = { column, down: order.column === column && !order.down };
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      show();
    });
    head.replaceChildren(button);
  };

  if (table) {
    [CLASS, SUITE, LANES, BASE, PATCHED, NOTE].forEach((column, place) => sortable(table.tHead.rows[0].cells[place], column));
    table.tHead.rows[0].cells[0].setAttribute("aria-sort", "ascending");
    table.hidden = byId("filter").hidden = false;
    byId("filter").addEventListener("input", () => {
      most = PAGE;
      lists.forEach((list) => list.classList.add("unasked")); // on paper, too
      show();
    });
    byId("rows-more").addEventListener("click", () => { most += PAGE; show(); });
    lists.forEach((list) => { list.hidden = true; });
    show();
  }

  // ---- links into what is closed, or filtered out

  const follow = () => {
    const id = location.hash.slice(1);
    const record = records.find((record) => record.id === id);
    if (record && !record.body?.isConnected) {
      for (const input of Object.values(inputs)) if (input) input.value = "";
      inputs.text.value = `${record.columns[SUITE]} ${record.columns[NAME]}`;
      most = PAGE;
      show();
      if (!record.body?.isConnected) table.append(record.body ??= made(record));
    }
    const target = id && byId(id);
    if (!target) return;
    for (let box = target; box; box = box.parentElement?.closest("details")) if (box.matches("details")) box.open = true;
    target.querySelector(":scope > tr .switch")?.setAttribute("open", "");
    target.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();

  // ---- copies

  for (const button of document.querySelectorAll("button[data-copy]")) {
    const told = element("span", "quiet");
    told.role = "status";
    button.hidden = false;
    button.after(" ", told);
    button.addEventListener("click", async () => {
      const source = byId(button.dataset.copy);
      getSelection().selectAllChildren(source);
      try {
        await navigator.clipboard.writeText(source.textContent);
        told.textContent = "copied";
      } catch {
        told.textContent = document.execCommand("copy") ? "copied" : "selected: copy it with your keyboard";
      }
    });
  }
})();
