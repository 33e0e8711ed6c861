import { Html, html } from './html.ts'

const RED = '#d0112b'
const BLUE = '#12489c'
const YELLOW = '#ffcc1d'
const WHITE = '#ffffff'
const BLACK = '#17191c'

/** The international code of signals, on a field of 40 by 32, as far as this shop's name goes. */
const FLAGS: Record<string, string> = {
  A: `<path fill="${WHITE}" d="M0 0h20v32H0z"/><path fill="${BLUE}" d="M20 0h20l-9 16 9 16H20z"/>`,
  D: `<path fill="${YELLOW}" d="M0 0h40v32H0z"/><path fill="${BLUE}" d="M0 8h40v16H0z"/>`,
  F: `<path fill="${WHITE}" d="M0 0h40v32H0z"/><path fill="${RED}" d="M20 0l20 16-20 16L0 16z"/>`,
  H: `<path fill="${WHITE}" d="M0 0h20v32H0z"/><path fill="${RED}" d="M20 0h20v32H20z"/>`,
  L: `<path fill="${YELLOW}" d="M0 0h40v32H0z"/><path fill="${BLACK}" d="M20 0h20v16H20zM0 16h20v16H0z"/>`,
  O: `<path fill="${YELLOW}" d="M0 0h40v32H0z"/><path fill="${RED}" d="M0 0h40v32z"/>`,
  S: `<path fill="${WHITE}" d="M0 0h40v32H0z"/><path fill="${BLUE}" d="M12 9h16v14H12z"/>`,
  T: `<path fill="${WHITE}" d="M0 0h40v32H0z"/><path fill="${RED}" d="M0 0h13.4v32H0z"/><path fill="${BLUE}" d="M26.6 0H40v32H26.6z"/>`,
}

/** Only 'A' has a swallowtail. */
function edge(letter: string): string {
  return letter === 'A' ? 'M.5.5h38.6L30 16l9.1 15.5H.5z' : 'M.5.5h39v31H.5z'
}

/** A signal flag, for the eye only: a flag's meaning always stands beside it in words. */
export function flag(letter: string): Html {
  return html`<svg class="flag" viewBox="0 0 40 32" aria-hidden="true" focusable="false">${new Html(
    `${FLAGS[letter]}<path class="edge" fill="none" d="${edge(letter)}"/>`,
  )}</svg>`
}

/** The house's name on one line, as a ship would fly it. */
export function hoist(word: string): Html {
  return html`<div class="hoist" aria-hidden="true">${[...word].map(flag)}</div>`
}

/** For the browser's tab: the flag H. */
export const icon = `data:image/svg+xml,${encodeURIComponent(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -6 44 44">${FLAGS.H}<path fill="none" stroke="#12263a" stroke-width="2" d="M0 0h40v32H0z"/></svg>`,
)}`
