// What is being taught: the marks of all words, the word and the picture that are being marked, and the tools.

export const THE_VIEW = -1; // instead of a photo's position: the 3D view is marked

// open: whether the tool is open. concept: word of the next marks; "" before it has a name. photo: position of the photo
// that is marked, or THE_VIEW. radius: of strokes and points, in long sides of the picture. snap: what marks on photos are
// extended to, one of snaps. marks: all marks, the oldest first, as the server keeps them; one without a concept waits for
// its name. ready: whether the server has lifted what photos look like. reconstruction: in whose world frame the 3D view
// is. next: positions of the photos that would tell most. said: the last answer about the concept, as text.
export const teaching = {
  open: false, concept: "", photo: THE_VIEW,
  tool: "stroke", positive: true, radius: 0.012, snap: "off", snaps: ["off"], belief: 0.75,
  marks: [], corrected: new Set(), mode: "mixed", missing: null, ready: false, reconstruction: "", next: [], said: "",
};

const listeners = [];

// Call a function after every change of what is taught.
export const whenTeachingChanges = (listener) => listeners.push(listener);
export const teachingChanged = () => listeners.forEach((listener) => listener());

// The marks of the present word.
export const marksOfConcept = () => teaching.marks.filter((mark) => mark.concept === teaching.concept);

// The words that have marks, in the order of their first ones.
export const taughtConcepts = () => [...new Set(teaching.marks.map((mark) => mark.concept).filter(Boolean))];

// Take over the server's state; marks that wait for a name stay.
export function takeTeachingState({ annotations, corrected, ...state }) {
  const nameless = teaching.marks.filter((mark) => !mark.concept);
  Object.assign(teaching, state, { marks: [...annotations, ...nameless], corrected: new Set(corrected) });
  if (!teaching.snaps.includes(teaching.snap)) teaching.snap = "off";
  teachingChanged();
}
