/** What `work` comes to; if that takes too long, the error that `late` makes. The work goes on, and nobody hears of it. */
export function inTime<T>(milliseconds: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), milliseconds)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/**
 * Waits so long for each answer of a connection whose driver would wait for ever. When the first is missing, `leave` is called, and nothing new
 * is to begin on it; `end` follows when nothing is under way on it any more, since all have their answers or have waited as long.
 */
export function patientFor(
  milliseconds: number,
  leave: () => void,
  end: () => unknown,
): <T>(answer: Promise<T>) => Promise<T> {
  let underWay = 0
  let isSilent = false
  const late = () => {
    if (!isSilent) leave()
    isSilent = true
    return noAnswerWithin(milliseconds)
  }
  return async (answer) => {
    underWay++
    try {
      return await inTime(milliseconds, answer, late)
    } finally {
      if (--underWay === 0 && isSilent) end()
    }
  }
}

export function noAnswerWithin(milliseconds: number): Error {
  return new Error(`no answer within ${milliseconds} ms`)
}
