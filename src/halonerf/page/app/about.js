// What the page holds, and whose photos it shows.

import { createElement, element, link, plural } from "./dom.js";
import { facts } from "./store.js";

export function fillAbout() {
  element("facts").textContent =
    `${plural(facts.registered, "photo", "photos")} became ${plural(facts.of, "Gaussian", "Gaussians")}.` +
    (facts.splats < 0.99 * facts.of ? ` This page holds the ${facts.splats.toLocaleString("en")} most important.` : "");
  element("credits-none").hidden = facts.credits.length > 0;
  element("credits").hidden = !facts.credits.length;
  for (const row of facts.credits) {
    element("credits").tBodies[0].append(createElement("tr", {},
      createElement("td", {}, link(row.title || row.photo, row.source_url)), createElement("td", { text: row.author || row.credit }),
      createElement("td", {}, link(row.licence || "–", row.licence_url)), createElement("td", { text: [row.restrictions, row.changes].filter(Boolean).join("; ") })));
  }
}
