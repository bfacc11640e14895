import { IncomingMessage } from 'node:http';

/**
 * A request that asks for an upgrade only where that is to a WebSocket. A server that takes upgrades is handed all of them
 * by Node, also the offers of HTTP/2 that some clients make with each request, which are to be answered as if they were not
 * there.
 */
export class WebSocketRequest extends IncomingMessage {
  declare private asked: boolean | null;

  get upgrade(): boolean {
    return (
      this.asked === true && (this.method === 'CONNECT' || /^websocket$/i.test(this.headers.upgrade ?? ''))
    );
  }

  set upgrade(asked: boolean | null) {
    this.asked = asked;
  }
}
