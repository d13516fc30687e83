// Hidden characters of a text that arrives live, marked as the server marks those of its pages (approvals/web/edge/hidden_characters.py).

const UNSEEN = String.raw`\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\u{13430}-\u{13455}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}\u1680\u2000-\u2006\u2008\u200a\u205f\u2800\u{1d159}`;
const CURSIVE = String.raw`[\u0620-\u065f\u066e-\u06d3\u06d5-\u06dc\u06df-\u06e8\u06ea-\u06ef\u06fa-\u06ff\u0700-\u074f\u0750-\u077f\u07c0-\u07f5\u0840-\u085b\u0860-\u086a\u0870-\u088e\u08a0-\u08e1\u08e3-\u08ff\u1820-\u18aa\u{10d00}-\u{10d27}\u{1e900}-\u{1e94b}]`;
const VIRAMA = String.raw`[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u0f84\u1039\u103a\u1714\u1734\u17d2\u1a60\u1b44\u1baa\u1bab\u1bf2\u1bf3\ua806\ua8c4\ua953\ua9c0\uaaf6\uabed]`;
const INDIC = String.raw`[\u0900-\u0dff\u1000-\u109f\u1780-\u17dd\u1a20-\u1a7c\u1b00-\u1bff\ua800-\ua82c\ua880-\ua8c5\ua980-\ua9c0]`;
const RUN = new RegExp(`(?:[${UNSEEN}]|\\r(?!\\n))+`, "gu");
const IN_PLACE = new RegExp([
  String.raw`[\p{ExtPict}\u{1f3fb}-\u{1f3ff}]\ufe0f?\u200d\p{ExtPict}`,
  String.raw`\p{ExtPict}[\ufe0e\ufe0f]`,
  String.raw`[0-9#*]\ufe0f\u20e3`,
  String.raw`\u{1f3f4}[\u{e0030}-\u{e0039}\u{e0061}-\u{e007a}]{1,6}\u{e007f}`,
  `${CURSIVE}[\\u200c\\u200d]${CURSIVE}`,
  `${CURSIVE}\\u200d`,
  `${VIRAMA}[\\u200c\\u200d]`,
  `${INDIC}[\\u200c\\u200d]${VIRAMA}`,
  String.raw`[\u1820-\u18aa][\u180b-\u180f]`,
  String.raw`[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}][\ufe00-\ufe02\u{e0100}-\u{e01ef}]`,
].join("|"), "uy");
const MOST = 100, MOST_IN_RUN = 3, STAND_IN = "\u25af";

// The text as nodes of a page.
export function marked(text) {
  const nodes = document.createDocumentFragment();
  let end = 0, left = MOST;
  for (const { 0: run, index } of text.matchAll(RUN)) {
    if (isInPlace(text, index, index + run.length)) continue;
    nodes.append(text.slice(end, index), ...(left > 0 ? marks(run) : [STAND_IN]));
    left -= 1;
    end = index + run.length;
  }
  nodes.append(text.slice(end));
  return nodes;
}

function isInPlace(text, first, after) {
  if (!first) return false;
  const low = text.charCodeAt(first - 1);
  IN_PLACE.lastIndex = first - (low >= 0xdc00 && low < 0xe000 ? 2 : 1);
  return IN_PLACE.test(text) && IN_PLACE.lastIndex >= after;
}

function marks(run) {
  const same = [];
  for (const character of run) {
    if (same.at(-1)?.character === character) same.at(-1).times += 1;
    else same.push({ character, times: 1 });
  }
  const codes = [...new Set(same.map(({ character }) => code(character)))];
  if (same.length > MOST_IN_RUN) return [mark(`${counted([...run].length)} hidden characters`, codes.slice(0, MOST_IN_RUN).join(", "))];
  return same.map(({ character, times }) => mark(code(character) + (times > 1 ? ` × ${counted(times)}` : "")));
}

function mark(label, title = label) {
  const span = document.createElement("span");
  return Object.assign(span, { className: "odd", textContent: label, title });
}

const code = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const counted = (number) => number.toLocaleString("en");
