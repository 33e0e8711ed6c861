import type { ServerResponse } from 'node:http'
import type { HeaderChange } from '../answer.ts'
export interface Gate {
  beforeHeaders(status: number): readonly HeaderChange[] | Promise<readonly HeaderChange[]>
  failed(error: unknown): void
  closed?(): void
}
export declare function holdResponse(res: ServerResponse, gate: Gate): void
