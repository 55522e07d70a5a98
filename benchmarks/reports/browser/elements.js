"use strict";
// Elements and numbers. Texts of users become text nodes and attributes, never markup.

const content = JSON.parse(document.getElementById("content").textContent);

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// JSON has no NaN and no infinity; the page's numbers hold them as words.
const WORDS = { inf: Infinity, "-inf": -Infinity };
const numeric = (value) => (typeof value === "number" ? value : (WORDS[value] ?? NaN));

// A number in five digits; far from 1 with a power of ten.
function written(value, digits = 5) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "\u2013" : value > 0 ? "\u221e" : "\u2212\u221e";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  return text.replace(/\.?0+e/, "e").replace(/-/g, "\u2212").replace("e+", "e");
}

const decibels = (value) => 10 * Math.log10(value);
const inDecibels = (value) => `${written(decibels(value), 3)} dB`;
const distinct = (values) => [...new Set(values)];

function valueLine(label, mean, half) {
  return `${label}: ${written(mean, 4)}${Number.isFinite(half) ? ` \u00b1 ${written(half, 2)} (95 %)` : ""}`;
}

const schemes = new Map(content.schemes.map((scheme) => [scheme.name, scheme]));
schemes.set(content.noiseless, { name: content.noiseless, free: true, marker: "o" });

// Give an element the colour of a scheme.
function inColourOf(name, made) {
  const scheme = schemes.get(name);
  made.classList.add(scheme.free ? "free" : "scheme");
  if (!scheme.free) {
    made.style.setProperty("--day", scheme.colour);
    made.style.setProperty("--night", scheme.dark);
  }
  return made;
}

function labelled(text, control) {
  return element("label", {}, text, control);
}

// A select of [value, label] pairs.
function choice(options, onChange) {
  const made = element("select", {}, ...options.map(([value, label]) => element("option", { value }, label)));
  made.addEventListener("change", onChange);
  return made;
}
