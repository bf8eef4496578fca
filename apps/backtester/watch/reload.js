(() => {
  "use strict";
  const bar = document.createElement("p");
  Object.assign(bar.style, {
    position: "fixed", inset: "0 0 auto 0", margin: "0", padding: "10px 16px", zIndex: "100",
    background: "#b3261e", color: "#ffffff", font: "14px/1.4 system-ui, sans-serif", display: "none",
  });
  bar.id = "watch";
  bar.setAttribute("role", "status");
  document.body.append(bar);
  const show = (text) => {
    if (bar.textContent !== text) bar.textContent = text;
    bar.style.display = text ? "block" : "none";
    // The page begins below the bar, so that the bar does not cover its head.
    document.body.style.marginTop = text ? `${bar.offsetHeight}px` : "";
  };
  const poll = async () => {
    try {
      const response = await fetch("/state", { cache: "no-store" });
      const state = await response.json();
      if (state.version !== VERSION) {
        location.reload();
        return;
      }
      show(state.error);
    } catch {
      show("backtester --watch has ended: this page does not reload any more");
    }
    setTimeout(poll, 400);
  };
  poll();
})();
