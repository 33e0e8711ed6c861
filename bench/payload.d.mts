export function visitor(): { visits: number; cart: Record<string, number> }
