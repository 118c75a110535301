// The WebSocket: it sends the token, receives and sends messages, and reconnects when the connection is lost.
// Its status is one of: connecting, open, taken (another tab has the session), replaced (by another tab), denied, lost.

const DENIED = 4401;
const REPLACED = 4409;
const MAX_WAIT = 4000; // ms between two attempts

/** Remove the token from the address bar and return it. This tab stores it, so that a reload works. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    sessionStorage.setItem("token", token);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token") ?? "";
}

export class Connection {
  /** Call `onStatus(status)`, `onMessage(object)` and `onFrame(ArrayBuffer)`. */
  constructor({ onStatus, onMessage, onFrame }) {
    this.handlers = { onStatus, onMessage, onFrame };
    this.status = "connecting";
    this.wait = 250;
    addEventListener("hashchange", () => takeToken() && this.open());
    addEventListener("online", () => this.status === "lost" && this.open());
  }

  /** Open a new connection in place of the old one. */
  open(takeOver = false) {
    clearTimeout(this.timer);
    this.socket?.close();
    const token = takeToken();
    if (!token) {
      this.become("denied");
      return;
    }
    const socket = new WebSocket(`ws://${location.host}/socket`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token, take_over: takeOver }));
    socket.onmessage = (event) => socket === this.socket && this.receive(event.data);
    socket.onclose = (event) => socket === this.socket && this.closed(event.code);
    this.socket = socket;
    if (this.status !== "lost") this.become("connecting"); // while it tries again, the page still says "lost"
  }

  receive(data) {
    if (data instanceof ArrayBuffer) {
      this.handlers.onFrame(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "welcome") {
      this.wait = 250;
      this.become("open");
    }
    if (message.type === "taken") this.become("taken");
    this.handlers.onMessage(message);
  }

  closed(code) {
    if (code === DENIED) sessionStorage.removeItem("token");
    if (code === DENIED || code === REPLACED) {
      this.become(code === DENIED ? "denied" : "replaced");
      return;
    }
    this.become("lost");
    this.timer = setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(this.wait * 2, MAX_WAIT);
  }

  become(status) {
    this.status = status;
    this.handlers.onStatus(status);
  }

  /** Send one message if this tab controls the session. Return whether it does. */
  send(message) {
    const inControl = this.status === "open" && this.socket.readyState === WebSocket.OPEN;
    if (inControl) this.socket.send(JSON.stringify(message));
    return inControl;
  }
}
