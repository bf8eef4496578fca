const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const PARTS = ["in_sample", "out_of_sample"];
const PART_WORDS = { in_sample: "in-sample", out_of_sample: "out-of-sample" };
