import { Html, html } from './html.ts'

/** Depth contours and soundings, as on a sea chart. */
export const soundings = new Html(`
<svg class="soundings" viewBox="0 0 1200 420" preserveAspectRatio="xMaxYMid slice" aria-hidden="true" focusable="false">
  <g class="depths">
    <path d="M1300-9H610v9c-40 60 30 96 8 158s-96 70-84 140 118 74 132 122v9h634z"/>
    <path d="M1300-9H742v9c-20 54 44 88 26 146s-78 82-62 140 104 84 122 134v9h472z"/>
    <path d="M1300-9H902v9c-8 50 36 78 22 130s-50 80-38 132 92 96 96 158v9h318z"/>
  </g>
  <g class="figures">
    <text x="642" y="236">5</text><text x="668" y="340">7</text><text x="690" y="130">6</text>
    <text x="806" y="92">11</text><text x="846" y="212">12</text><text x="780" y="300">9</text><text x="880" y="384">14</text>
    <text x="972" y="76">23</text><text x="1010" y="168">27</text><text x="960" y="262">21</text><text x="1068" y="330">31</text>
    <text x="1124" y="126">34</text><text x="1150" y="232">38</text><text x="1100" y="398">36</text>
  </g>
</svg>`)

/** The head of a page. */
export function band(title: string, lead?: string): Html {
  return html`
<div class="chart">
  ${soundings}
  <h1>${title}</h1>
  ${lead && html`<p class="lead">${lead}</p>`}
</div>`
}
