/** How many commands are sent before their answers are waited for. */
const BATCH_SIZE = 500

export async function inBatches<T, R>(all: readonly T[], perform: (each: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let i = 0; i < all.length; i += BATCH_SIZE) {
    results.push(...(await Promise.all(all.slice(i, i + BATCH_SIZE).map(perform))))
  }
  return results
}
