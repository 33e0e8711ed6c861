/** A tea. The letter is that of the signal flag on its tin: the first eight spell the house's name. */
export interface Product {
  readonly sku: string
  readonly flag: string
  readonly name: string
  readonly kind: string
  readonly notes: string
  readonly pence: number
}

export const products: readonly Product[] = [
  {
    sku: 'harbour-breakfast',
    flag: 'H',
    name: 'Harbour Breakfast',
    kind: 'Black, Assam and Kenya',
    notes: 'Malt, brass and brisk weather. Takes milk as a hull takes paint.',
    pence: 750,
  },
  {
    sku: 'outer-roads',
    flag: 'O',
    name: 'Outer Roads',
    kind: 'Oolong, Fujian',
    notes: 'Roasted twice and left to settle. Stone fruit, warm slate, a long swell.',
    pence: 1180,
  },
  {
    sku: 'lamplighter',
    flag: 'L',
    name: 'Lamplighter',
    kind: 'Earl Grey, Ceylon and bergamot',
    notes: 'Bergamot, pressed and not perfumed. Bright enough to steer by.',
    pence: 820,
  },
  {
    sku: 'deep-water',
    flag: 'D',
    name: 'Deep Water',
    kind: 'Pu-erh, Yunnan',
    notes: 'Nine years in the cellar. Wet earth, cocoa, a keel’s worth of calm.',
    pence: 1640,
  },
  {
    sku: 'fog-signal',
    flag: 'F',
    name: 'Fog Signal',
    kind: 'Lapsang souchong, Wuyi',
    notes: 'Pine smoke at two cables. You will smell it before you see it.',
    pence: 960,
  },
  {
    sku: 'after-watch',
    flag: 'A',
    name: 'After Watch',
    kind: 'Rooibos and cocoa husk',
    notes: 'No caffeine. For whoever comes off deck at four and means to sleep.',
    pence: 640,
  },
  {
    sku: 'saltings',
    flag: 'S',
    name: 'Saltings',
    kind: 'Green, Uji sencha',
    notes: 'Steamed leaf, sea grass, a clean edge. Water no hotter than 75 °C.',
    pence: 1290,
  },
  {
    sku: 'turnstone',
    flag: 'T',
    name: 'Turnstone',
    kind: 'White, Fuding',
    notes: 'Buds only. Hay, melon rind, and very little said.',
    pence: 1850,
  },
]

export function findProduct(sku: string): Product | undefined {
  return products.find((product) => product.sku === sku)
}

export interface CartLine {
  readonly product: Product
  readonly quantity: number
}

/** What can be ordered: two clicks on "one fewer" at once may leave less than nothing, and a tea may have gone from the shelf. */
export function cartLines(cart: Readonly<Record<string, number>> = {}): CartLine[] {
  return products.flatMap((product) => {
    const quantity = cart[product.sku] ?? 0
    return quantity > 0 ? [{ product, quantity }] : []
  })
}

/** One more, or one fewer and never less than nothing. */
export function changeCart(
  visitor: { cart?: Record<string, number> },
  { sku }: Product,
  change: 1 | -1,
): void {
  const cart = (visitor.cart ??= {})
  const quantity = Math.max(0, cart[sku] ?? 0) + change
  if (quantity > 0) cart[sku] = quantity
  else delete cart[sku]
}

export function countOf(lines: readonly CartLine[]): number {
  return lines.reduce((count, { quantity }) => count + quantity, 0)
}

export function totalOf(lines: readonly CartLine[]): number {
  return lines.reduce((pence, { product, quantity }) => pence + product.pence * quantity, 0)
}
