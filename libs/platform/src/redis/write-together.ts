import type { Redis } from 'ioredis';

/**
 * Makes commands that are sent in one turn of the event loop leave in one write. When a batch of tasks ends, each of
 * its messages has a command of its own, and a write for each costs both sides more than the command.
 */
export function writeTogether(client: Redis): Redis {
  const send = client.sendCommand.bind(client);
  let together = false;
  client.sendCommand = (command, stream) => {
    const socket = client.stream as typeof client.stream | undefined;
    if (!together && socket?.writable) {
      together = true;
      socket.cork();
      // After all that is settled by now has gone on.
      process.nextTick(() => {
        together = false;
        socket.uncork();
      });
    }
    return send(command, stream);
  };
  return client;
}
