// Elements of the pictures that are drawn as SVG.

function drawn(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Maps the values from low to high to the pixels between two places.
function scaleOf([low, high], from, to) {
  return (value) => (high > low ? from + ((value - low) / (high - low)) * (to - from) : (from + to) / 2);
}

// The width of a picture in its card, and the height for it.
function pictureSize(svg, minimum, maximum) {
  const width = Math.max(280, Math.floor(svg.parentElement.clientWidth - 32));
  return [width, Math.min(maximum, Math.max(minimum, Math.floor(width * 0.36)))];
}
