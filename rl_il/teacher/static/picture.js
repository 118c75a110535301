// Frames: decoded off the main thread, the newest drawn, each acknowledged; and two measurements of how live it is.

const WINDOW = 2000; // ms over which frames are counted

export class Picture {
  /** `acknowledge(seq)` is called for each frame, drawn or dropped. */
  constructor(canvas, acknowledge) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.acknowledge = acknowledge;
    this.drawn = 0;
    this.times = []; // when the last frames were drawn
    this.stamps = []; // of key changes whose frame is not drawn yet
    this.keyFrame = null;
    this.keyToPicture = null; // ms from the last key change to the first frame that shows it
  }

  /** Gives the canvas the frames' size; an observation's pixels stay pixels when it is scaled up. */
  shape(width, height, pixels) {
    Object.assign(this.canvas, { width, height });
    this.canvas.classList.toggle("pixels", pixels);
    this.canvas.parentElement.style.setProperty("--aspect", width / height);
  }

  receive(data) {
    if (this.next) this.acknowledge(this.next.seq);
    this.next = { seq: new DataView(data).getUint32(0), jpeg: data.slice(4) };
    if (!this.busy) this.drain();
  }

  async drain() {
    this.busy = true;
    while (this.next) {
      const { seq, jpeg } = this.next;
      this.next = null;
      try {
        const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
        this.context.drawImage(bitmap, 0, 0, this.canvas.width, this.canvas.height);
        bitmap.close();
        this.count(seq);
      } catch {
        // A frame that is no picture is skipped; the next one comes.
      } finally {
        this.acknowledge(seq);
      }
    }
    this.busy = false;
  }

  count(seq) {
    const now = performance.now();
    this.drawn += 1;
    this.times.push(now);
    while (this.times[0] < now - WINDOW) this.times.shift();
    if (this.keyFrame && seq >= this.keyFrame.seq) {
      this.keyToPicture = now - this.keyFrame.stamp;
      this.canvas.dataset.keyToPicture = this.keyToPicture;
      this.keyFrame = null;
    }
    this.canvas.dataset.drawn = this.drawn;
  }

  /** Frames drawn in a second, over the last two. */
  rate() {
    const recent = this.times.filter((time) => time > performance.now() - WINDOW);
    return recent.length / (WINDOW / 1000);
  }

  keysSent(stamp) {
    this.stamps.push(stamp);
  }

  /** The frame `seq` is the first that follows from the keys sent at `stamp` (another page's stamps say nothing). */
  keysShown(stamp, seq) {
    if (!this.stamps.includes(stamp)) return;
    this.stamps = this.stamps.filter((other) => other > stamp);
    this.keyFrame = { stamp, seq };
  }
}
