// The recent course of a figure as a small line.

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 120;
const HEIGHT = 30;

export class Sparkline {
  element = document.createElementNS(SVG, 'svg');
  #path = document.createElementNS(SVG, 'path');

  constructor() {
    this.element.setAttribute('class', 'sparkline');
    this.element.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.element.setAttribute('preserveAspectRatio', 'none');
    this.element.setAttribute('aria-hidden', 'true');
    this.element.append(this.#path);
  }

  // From nothing up, so that a small change does not look like a large one.
  show(values, slots) {
    const known = values.filter((value) => value !== null);
    const high = Math.max(...known, 0) || 1;
    const x = (index) => ((WIDTH * (slots - values.length + index)) / (slots - 1)).toFixed(1);
    const y = (value) => (HEIGHT - 1.5 - (value * (HEIGHT - 3)) / high).toFixed(1);
    let way = '';
    values.forEach((value, index) => {
      if (value === null) return;
      way += `${way && values[index - 1] !== null ? 'L' : 'M'}${x(index)} ${y(value)}`;
    });
    this.#path.setAttribute('d', way);
  }
}
