import {
  Body,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  HttpCode,
  HttpException,
  Inject,
  Injectable,
  Module,
  type OnApplicationShutdown,
  Param,
  Post,
  Session,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common'
import { createSessions, type Sessions, type Session as UserSession } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { SECRET } from '../../helpers/browser.ts'

export interface Visitor {
  visits?: number
  cart?: Record<string, number>
}

export const SESSIONS = Symbol('the sessions of the application')

@Injectable()
class SignedIn implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { session } = context.switchToHttp().getRequest<{ session: UserSession<Visitor> }>()
    if (session.userId === undefined) throw new UnauthorizedException('Sign in first')
    return true
  }
}

/** What is injected is named: tools such as esbuild and SWC's default keep no types of fields for Nest to go by. */
@Controller()
class Shop {
  @Inject(SESSIONS) private readonly sessions!: Sessions<Visitor>

  @Get('me')
  me(@Session() { userId, generation, data }: UserSession<Visitor>) {
    return { user: userId ?? 'nobody', generation, ...data }
  }

  @Post('login')
  @HttpCode(200)
  async login(@Session() session: UserSession<Visitor>, @Body() { user }: { user: string }) {
    await session.login(user)
    return { user }
  }

  @Post('logout')
  @HttpCode(204)
  logout(@Session() session: UserSession<Visitor>) {
    return session.logout()
  }

  @Post('count')
  count(@Session() session: UserSession<Visitor>) {
    session.data.visits = (session.data.visits ?? 0) + 1
    return session.data.visits
  }

  @Post('cart')
  async cart(@Session() session: UserSession<Visitor>, @Body() order: { item: string; after: number }) {
    await new Promise((resume) => setTimeout(resume, order.after))
    session.data.cart = { ...session.data.cart, [order.item]: 1 }
    return session.data.cart
  }

  @Post('count-and-fail/:status')
  countAndFail(@Session() session: UserSession<Visitor>, @Param('status') status: string) {
    session.data.visits = (session.data.visits ?? 0) + 1_000
    throw new HttpException('as asked for', Number(status))
  }

  @Get('account')
  @UseGuards(SignedIn)
  async account(@Session() session: UserSession<Visitor>) {
    return { devices: (await this.sessions.list(session.userId!)).length }
  }

  @Get('vault')
  vault(@Session() session: UserSession<Visitor>) {
    session.requireLevel('2fa')
    return 'gold'
  }
}

/** Once the server is closed, and so all requests are answered. */
@Injectable()
class Closing implements OnApplicationShutdown {
  @Inject(SESSIONS) private readonly sessions!: Sessions<Visitor>
  onApplicationShutdown() {
    return this.sessions.close()
  }
}

const sessions = createSessions<Visitor>({
  secret: SECRET,
  store: openStore(process.env.SESSION_STORE!),
  merge: { visits: 'sum', cart: 'sum' },
  // On a busy machine 50 requests to one session may take longer than an application would let them.
  deadlines: { load: '2s', write: '2s', request: '30s' },
})

@Module({
  controllers: [Shop],
  providers: [{ provide: SESSIONS, useValue: sessions }, Closing],
})
export class AppModule {}
