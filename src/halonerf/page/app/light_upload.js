// The light of a photo that a person uploads, where the field computes one from photos.

import { complain, element } from "./dom.js";
import { offerLights, setLight } from "./lights.js";
import { getJson, postFile } from "./server.js";
import { facts, lights } from "./store.js";

// Offer the lights that the server has got since, from this window or from others.
export async function fetchLights() {
  const all = await getJson("api/lights");
  offerLights(all.slice(lights.length));
}

export function openLightUpload() {
  element("light-upload").hidden = !facts.encodes;
  element("light-file").addEventListener("change", async ({ target }) => {
    const file = target.files[0];
    target.value = "";
    if (!file) return;
    complain("");
    try {
      const added = await postFile(`api/uploads/light?name=${encodeURIComponent(file.name.slice(0, 200))}`, file);
      await fetchLights();
      setLight({ from: added.number, blend: 0 });
    } catch (error) {
      complain(error.message);
    }
  });
}
