// How large tiles are: as large as all of them fit, and not too small to see.

const GAP = 10;
/** Pixels; where tiles would be narrower, the grid scrolls. */
const NARROWEST = 150;

/** Keeps the tiles in `container` as large as they can be, whatever comes and goes. */
export function fit(container) {
  const draw = () => {
    const { width, height, ratio } = largest(container.children.length, container.clientWidth, container.clientHeight);
    container.style.setProperty("--tile-width", `${width}px`);
    container.style.setProperty("--tile-height", `${height}px`);
    container.style.setProperty("--gap", `${GAP}px`);
    container.dataset.ratio = ratio;
  };
  new ResizeObserver(draw).observe(container);
  new MutationObserver(draw).observe(container, { childList: true });
}

function largest(count, room, high) {
  // A phone held upright has height to spare.
  const ratio = high > room ? 4 / 3 : 16 / 9;
  let width = 0;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const across = (room - GAP * (columns - 1)) / columns;
    const down = ((high - GAP * (rows - 1)) / rows) * ratio;
    width = Math.max(width, Math.min(across, down));
  }
  if (width < NARROWEST) {
    const columns = Math.max(1, Math.floor((room + GAP) / (NARROWEST + GAP)));
    width = (room - GAP * (columns - 1)) / columns;
  }
  width = Math.max(0, Math.floor(width));
  return { width, height: Math.floor(width / ratio), ratio: ratio > 1.5 ? "wide" : "tall" };
}
