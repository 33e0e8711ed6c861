/** What `work` comes to; if that takes too long, the error that `late` makes. The work goes on, and nobody hears of it. */
export function inTime<T>(milliseconds: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), milliseconds)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
