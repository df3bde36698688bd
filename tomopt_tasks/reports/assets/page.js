"use strict";
// Turn the pictures in space together, by mouse, finger or arrow keys.
(() => {
  const views = [...document.querySelectorAll("svg.solid")];
  let yaw = 0.55, pitch = 0.28;
  const corners = new Map();
  for (const view of views) {
    for (const face of view.children) {
      corners.set(face, face.dataset.at.split(" ").map((at) => at.split(",").map(Number)));
    }
  }
  const draw = (view) => {
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const faces = [...view.children].map((face) => {
      let depth = 0;
      const points = corners.get(face).map(([x, y, z]) => {
        const away = x * sy + y * cy;
        depth += away * cp - z * sp;
        return `${(x * cy - y * sy).toFixed(0)},${(-z * cp - away * sp).toFixed(0)}`;
      });
      face.setAttribute("points", points.join(" "));
      return [depth / points.length, face];
    });
    faces.sort((a, b) => b[0] - a[0]).forEach(([, face]) => view.appendChild(face));
  };
  const turn = (right, down) => {
    yaw += right;
    pitch = Math.max(-1.5, Math.min(1.5, pitch + down));
    views.forEach(draw);
  };
  for (const view of views) {
    view.tabIndex = 0;
    let last = null;
    view.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      view.setPointerCapture(event.pointerId);
    });
    view.addEventListener("pointermove", (event) => {
      if (!last) return;
      turn((event.clientX - last[0]) / 160, (event.clientY - last[1]) / 160);
      last = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) {
      view.addEventListener(end, () => { last = null; });
    }
    view.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
      if (step) { event.preventDefault(); turn(...step); }
    });
  }
})();
// Copy buttons.
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = words; }, 2000);
  });
}
