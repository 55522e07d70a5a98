// Values under the pointer, or under the arrow keys while a chart has the focus.

const REACH = 40; // pixels around the pointer

function listen(chart, svg) {
  const places = [...chart.places].sort((one, other) => one.x - other.x);
  let current = -1;
  const point = (event) => {
    const { left, top } = svg.getBoundingClientRect();
    const far = places.map(({ x, y }) => Math.hypot(x - event.clientX + left, y - event.clientY + top));
    current = far.indexOf(Math.min(...far));
    show(chart, far[current] < REACH ? places[current] : null);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  for (const end of ["pointerleave", "blur"]) svg.addEventListener(end, () => show(chart, null));
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(chart, null);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !places.length) return;
    event.preventDefault();
    current = (Math.max(current, step > 0 ? -1 : 0) + step + places.length) % places.length;
    show(chart, places[current]);
  });
}

function show({ tip, ring, box, width }, place) {
  tip.hidden = !place;
  ring.setAttribute("visibility", place ? "visible" : "hidden");
  if (!place) return;
  ring.setAttribute("transform", `translate(${place.x} ${place.y})`);
  tip.replaceChildren(...[place.scheme, ...place.point.lines].map((line) => element("div", {}, line)));
  const [left, right] = [place.x - 16 - tip.offsetWidth, place.x + 16];
  const beside = right + tip.offsetWidth <= width ? right : left;
  const middle = Math.max(0, place.y - tip.offsetHeight / 2);
  tip.style.left = `${Math.max(0, beside)}px`;
  tip.style.top = `${box.offsetTop + (beside < 0 ? box.offsetHeight : middle)}px`; // without room beside it, below
}
