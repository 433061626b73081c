import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface Proxy {
  port: number;
  /** Breaks all connections and refuses new ones until `heal`. */
  cut(): void;
  /** Silently holds back all data of the present connections, in both directions. */
  silence(): void;
  /** Ends `cut` and `silence`; data that were held back arrive. */
  heal(): void;
  stop(): Promise<void>;
}

/** A proxy between clients and a server on this machine that simulates failures of the network. */
export async function startProxy(target: number): Promise<Proxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const silent = new Set<readonly [Socket, Socket]>();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const pair = [client, connect(target, '127.0.0.1')] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, pair.toReversed()]) {
      from.pipe(to);
      from.on('error', () => undefined);
      from.on('close', () => {
        to.destroy();
        pairs.delete(pair);
        silent.delete(pair);
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = (): Socket[] => [...pairs].flat();
  const drop = (): void => {
    for (const socket of sockets()) socket.destroy();
  };
  return {
    port: (server.address() as { port: number }).port,
    cut() {
      isCut = true;
      drop();
    },
    silence() {
      for (const pair of pairs) {
        const [client, far] = pair;
        client.unpipe(far).pause();
        far.unpipe(client).pause();
        silent.add(pair);
      }
    },
    heal() {
      isCut = false;
      for (const [client, far] of silent) {
        client.pipe(far);
        far.pipe(client);
      }
      silent.clear();
    },
    async stop() {
      drop();
      server.close();
      await once(server, 'close');
    },
  };
}
