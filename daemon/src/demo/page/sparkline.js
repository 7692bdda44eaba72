// The recent course of a price as a small line.

const SVG = 'http://www.w3.org/2000/svg';
const POINTS = 80;
const WIDTH = 100;
const HEIGHT = 28;

export class Sparkline {
  element = document.createElementNS(SVG, 'svg');
  #path = document.createElementNS(SVG, 'path');
  #values = [];

  constructor() {
    this.element.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.element.setAttribute('preserveAspectRatio', 'none');
    this.element.setAttribute('aria-hidden', 'true');
    this.element.append(this.#path);
  }

  add(value) {
    this.#values.push(value);
    if (this.#values.length > POINTS) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const values = this.#values;
    const low = Math.min(...values);
    const span = Math.max(...values) - low || 1;
    const x = (index) => ((index * WIDTH) / Math.max(values.length - 1, 1)).toFixed(1);
    const y = (value) => (HEIGHT - 2 - ((value - low) * (HEIGHT - 4)) / span).toFixed(1);
    this.#path.setAttribute('d', values.map((v, i) => `${i ? 'L' : 'M'}${x(i)} ${y(v)}`).join(''));
    const way = values.at(-1) < values[0] ? 'down' : 'up';
    this.element.setAttribute('class', `sparkline ${way}`);
  }
}
