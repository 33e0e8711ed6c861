/** What a session of a shop might hold: 435 bytes of JSON. */
export function visitor() {
  return {
    visits: 1,
    cart: { 'tea-darjeeling-250g': 2, 'cup-blue': 1, 'pot-cast-iron-1l': 1 },
    locale: 'de-CH',
    currency: 'CHF',
    address: { name: 'Anna Muster', street: 'Bahnhofstrasse 1', city: 'Zurich', zip: '8001', country: 'CH' },
    recentlySeen: ['tea-assam-100g', 'tea-sencha-100g', 'cup-white', 'cup-blue', 'pot-glass-1l', 'strainer'],
    campaign: 'autumn-2026',
    consent: { statistics: true, marketing: false, at: 1790000000000 },
    theme: 'dark-contrast',
  }
}
