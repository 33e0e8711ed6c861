type Child = Node | string | number | false | null | undefined

/** An element. What starts with `on` is listened to, all else is an attribute; what is given as text stays text. */
export function h<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<
    Record<string, string | number | boolean | undefined | ((event: Event) => unknown)>
  > = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(key.slice(2), value)
    else if (value !== undefined && value !== false)
      element.setAttribute(
        key,
        value === true ? '' : SPOKEN.has(key) ? visible(String(value)) : String(value),
      )
  }
  element.append(...nodes(children))
  return element
}

export function put(parent: Element, ...children: readonly Child[]): void {
  parent.replaceChildren(...nodes(children))
}

/** Changes only what is another text, so that nothing is announced or drawn again for nothing. */
export function say(element: Element, text: string): void {
  const shown = visible(text)
  if (element.textContent !== shown) element.textContent = shown
}

const SPOKEN = new Set(['aria-label', 'title'])

/**
 * What users have chosen must not turn the words around it about, nor look like another's: marks that cannot be seen are written out, as
 * the command line does. Lines and their indents stay.
 */
export function visible(text: string): string {
  return text.replace(
    /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (mark) => `\\u{${mark.codePointAt(0)!.toString(16)}}`,
  )
}

function nodes(children: readonly Child[]): (Node | string)[] {
  return children.flatMap((child) =>
    child === false || child === null || child === undefined
      ? []
      : [child instanceof Node ? child : visible(String(child))],
  )
}
