/** Reads a stream of server-sent events, as in section 9.2.6 of the HTML standard. */

export interface SseMessage {
  id: string;
  event: string;
  data: string;
}

export class SseParser {
  private rest = '';
  private id = '';
  private event = '';
  private data: string[] = [];

  /** Takes a piece of the stream, and returns the events that it completes. */
  push(piece: string): SseMessage[] {
    const messages: SseMessage[] = [];
    this.rest += piece;
    let start = 0;
    for (;;) {
      const end = this.rest.indexOf('\n', start);
      if (end < 0) break;
      const line = this.rest.slice(start, end).replace(/\r$/, '');
      start = end + 1;
      const message = this.line(line);
      if (message) messages.push(message);
    }
    this.rest = this.rest.slice(start);
    return messages;
  }

  private line(line: string): SseMessage | undefined {
    if (line === '') {
      const { id, event } = this;
      const data = this.data;
      this.event = '';
      this.data = [];
      return data.length === 0 ? undefined : { id, event: event || 'message', data: data.join('\n') };
    }
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'id') this.id = value;
    else if (field === 'event') this.event = value;
    else if (field === 'data') this.data.push(value);
    return undefined;
  }
}
