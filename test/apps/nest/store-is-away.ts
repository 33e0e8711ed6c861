import { type ArgumentsHost, Catch } from '@nestjs/common'
import { BaseExceptionFilter } from '@nestjs/core'
import { StoreUnavailableError } from 'holdfast'

/** Nest answers with the status of the error, and knows nothing of headers. */
@Catch(StoreUnavailableError)
export class StoreIsAway extends BaseExceptionFilter<StoreUnavailableError> {
  override catch(error: StoreUnavailableError, host: ArgumentsHost) {
    const response: unknown = host.switchToHttp().getResponse()
    for (const [name, value] of Object.entries(error.headers)) {
      this.applicationRef!.setHeader!(response, name, value)
    }
    super.catch(error, host)
  }
}
