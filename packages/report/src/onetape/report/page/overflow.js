// Marks each table that goes on to the right: a class fades its edge, and its section shows a hint.
function watchOverflow(box) {
  const section = box.closest("section");
  const isWide = (one) => one.scrollWidth > one.clientWidth + 1;
  const look = () => {
    const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("goes-on", left > 1);
    section.classList.toggle("wide", [...section.querySelectorAll(".scroll")].some(isWide));
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box);
  look();
}

document.querySelectorAll(".scroll").forEach(watchOverflow);
