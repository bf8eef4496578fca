// Marks each table that is wider than the page: a class fades its edge, and its section shows a hint.
function watchOverflow(box) {
  const section = box.closest("section");
  const isWide = (one) => one.scrollWidth > one.clientWidth + 1;
  const update = () => {
    const hidden = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("overflows", hidden > 1);
    section.classList.toggle("wide", [...section.querySelectorAll(".scroll")].some(isWide));
  };
  box.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(box);
  update();
}

document.querySelectorAll(".scroll").forEach(watchOverflow);
