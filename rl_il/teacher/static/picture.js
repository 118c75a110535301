// Frames: the newest one is decoded and drawn, and each one is acknowledged. Frame rate and delay are measured.

const WINDOW = 2000; // ms over which frames are counted

export class Picture {
  /** Call `acknowledge(seq)` for each frame, whether it is drawn or dropped. */
  constructor(canvas, acknowledge) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.acknowledge = acknowledge;
    this.drawn = 0;
    this.times = []; // of the last drawings
    this.stamps = []; // of the key changes that no frame has shown yet
    this.keyFrame = null;
    this.keyToPicture = null; // ms from the last key change to the first frame that shows it
  }

  /** Give the canvas the size of the frames. With `pixels`, enlarging does not blur them. */
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
        // A damaged frame is skipped.
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

  /** Return the frames per second, over the last two seconds. */
  rate() {
    const recent = this.times.filter((time) => time > performance.now() - WINDOW);
    return recent.length / (WINDOW / 1000);
  }

  keysSent(stamp) {
    this.stamps.push(stamp);
  }

  /** Note that frame `seq` is the first after the keys sent at `stamp`. Stamps of another page are ignored. */
  keysShown(stamp, seq) {
    if (!this.stamps.includes(stamp)) return;
    this.stamps = this.stamps.filter((other) => other > stamp);
    this.keyFrame = { stamp, seq };
  }
}
