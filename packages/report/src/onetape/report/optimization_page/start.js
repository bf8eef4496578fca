const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const PARTS = ["searched", "held_out"];
const PART_WORDS = { searched: "searched", held_out: "held out" };
