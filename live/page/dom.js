// Helpers for DOM elements that all parts of the page use.

export const byId = (id) => document.getElementById(id);

/** Writes only changed content, so that the user's selection and scroll position survive an update. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function draw(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
