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
      element.setAttribute(key, value === true ? '' : String(value))
  }
  element.append(...nodes(children))
  return element
}

export function put(parent: Element, ...children: readonly Child[]): void {
  parent.replaceChildren(...nodes(children))
}

/** Changes only what is another text, so that nothing is announced or drawn again for nothing. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

function nodes(children: readonly Child[]): (Node | string)[] {
  return children.flatMap((child) =>
    child === false || child === null || child === undefined
      ? []
      : [child instanceof Node ? child : String(child)],
  )
}
