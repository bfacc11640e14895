/** What is sent to a listener. */
export interface Message {
  event: string;
  /** Where to go on after it. */
  id?: string;
  data: unknown;
}

/** One event goes to many: it is written once, as long as anybody has it. */
function written(write: (message: Message) => string): (message: Message) => string {
  const known = new WeakMap<Message, string>();
  return (message) => {
    let text = known.get(message);
    if (text === undefined) known.set(message, (text = write(message)));
    return text;
  };
}

const hasId = ({ id }: Message) => id !== undefined && id !== '';

/** A message of a WebSocket: `{"event", "id", "data"}`. */
export const toJson = written((message) => {
  const { event, id, data } = message;
  return JSON.stringify({ event, ...(hasId(message) ? { id } : {}), data });
});

/** A server-sent event. JSON has no line breaks. */
export const toEventStream = written((message) => {
  const { event, id, data } = message;
  return `${hasId(message) ? `id: ${id}\n` : ''}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
});
