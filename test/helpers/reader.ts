import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from '../browser/chromium.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const SHIFT = 8

/** A page as somebody uses it who has a keyboard and sees, or hears, what is on the screen. */
export function readerOf(page: Page) {
  const main = `document.querySelector('dialog[open]') ?? document.querySelector('main')`
  const reader = {
    /** What is to be seen of the dialog, if there is one, else of the main part. */
    text: () => page.evaluate<string>(`(${main}).innerText`),

    async see(text: string, within = 10_000): Promise<void> {
      const until = performance.now() + within
      for (;;) {
        const said = await page.evaluate<string>(`document.body.innerText`)
        if (said.includes(text)) return
        if (performance.now() > until)
          throw new Error(`'${text}' is not on the page, but: ${said.slice(0, 2_000)}`)
        await new Promise((resume) => setTimeout(resume, 20))
      }
    },

    /** What has the focus, as a screen reader would name it. */
    focused: () =>
      page.evaluate<string>(
        `((one) => one.getAttribute('aria-label') ?? (one.labels?.[0] ?? one).textContent.trim())(document.activeElement)`,
      ),

    async press(
      key: 'Tab' | 'Enter' | 'Escape' | ' ' | 'ArrowRight' | 'ArrowDown',
      modifiers = 0,
    ): Promise<void> {
      const text = { Enter: '\r', ' ': ' ' }[key as string]
      const code = { Tab: 9, Enter: 13, Escape: 27, ' ': 32, ArrowRight: 39, ArrowDown: 40 }[key]
      const event = {
        key,
        code: key === ' ' ? 'Space' : key,
        windowsVirtualKeyCode: code,
        modifiers,
        ...(text && { text }),
      }
      await page.send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...event })
      await page.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event })
    },

    type: (text: string) => page.send('Input.insertText', { text }),

    /** Goes on with Tab until what has the focus is named so. @throws if it is not to be reached */
    async tabTo(name: string | RegExp, { backwards = false } = {}): Promise<void> {
      const is = (said: string) => (typeof name === 'string' ? said === name : name.test(said))
      const met: string[] = []
      for (let steps = 0; steps < 400; steps++) {
        await reader.press('Tab', backwards ? SHIFT : 0)
        const said = await reader.focused()
        if (is(said)) return
        met.push(said.slice(0, 40))
      }
      throw new Error(`${String(name)} is not to be reached by Tab, but ${[...new Set(met)].join(' | ')}`)
    },

    /** What has the focus shows it. */
    focusIsSeen: () =>
      page.evaluate<boolean>(`((one) => {
        const { outlineStyle, outlineWidth } = getComputedStyle(one)
        return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2
      })(document.activeElement)`),

    /** Violations of WCAG 2.2 A and AA and of axe's best practices, with where they are. */
    async violations(): Promise<string[]> {
      if (!(await page.evaluate(`'axe' in window`))) await page.evaluate(axe)
      return page.evaluate<string[]>(`axe
        .run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
        .then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.slice(0, 3).map(({ html, any }) => html + ' ' + (any[0]?.message ?? '')).join('; ')))`)
    },

    async look({ width = 1280, height = 900, dark = false, still = false }): Promise<void> {
      await page.send('Emulation.setDeviceMetricsOverride', {
        width,
        height,
        deviceScaleFactor: 1,
        mobile: width < 600,
      })
      await page.send('Emulation.setEmulatedMedia', {
        features: [
          { name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' },
          { name: 'prefers-reduced-motion', value: still ? 'reduce' : 'no-preference' },
        ],
      })
    },
  }
  return reader
}
