// The visitor's own page: remembers in this tab who answered, and asks the demo for the cookies
// that this browser holds (the shop cannot see limpet's: limpet keeps it to itself).
"use strict";

const { page, server, state } = document.body.dataset;
const KEY = "answers";
const MAX_ANSWERS = 40;

function showAnswers() {
  const answers = JSON.parse(sessionStorage.getItem(KEY) || "[]");
  answers.push({ server, state });
  sessionStorage.setItem(KEY, JSON.stringify(answers.slice(-MAX_ANSWERS)));
  const list = document.getElementById("answers");
  for (const answer of answers.slice(-MAX_ANSWERS)) {
    const item = document.createElement("li");
    item.className = answer.state;
    item.textContent = answer.server;
    item.title = answer.state === "in" ? "knew you" : "did not know you";
    item.setAttribute("aria-label", `${answer.server} ${item.title}`);
    list.append(item);
  }
}

async function showCookies() {
  const response = await fetch(`${page}/api/cookies`, { credentials: "include" });
  const { cookies } = await response.json();
  document.getElementById("no-cookies").hidden = cookies.length > 0;
  document.getElementById("cookies").hidden = cookies.length === 0;
  const body = document.querySelector("#cookies tbody");
  for (const cookie of cookies) {
    const row = body.insertRow();
    for (const text of [cookie.name, cookie.bytes, cookie.value, cookie.whose]) row.insertCell().textContent = text;
  }
}

showAnswers();
showCookies();
