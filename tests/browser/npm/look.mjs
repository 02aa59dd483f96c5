// Looks at every page in a real browser, at three widths, light and dark. What is wrong is told as one JSON document.
//   node look.mjs JOB.json: {browser, base, login, pages, pictures: [{path, width, height, scheme, file}],
//                            clicks: [{path, button, then}]}
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const wrong = [];
let looks = 0;
let elements = 0;

const browser = await puppeteer.launch({
  executablePath: job.browser,
  args: ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", "--hide-scrollbars"],
});

async function opened(path, width, height, scheme) {
  const page = await browser.newPage();
  await page.authenticate(job.login);
  const say = (what) => wrong.push(`${path} ${width} ${scheme}: ${what}`);
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  page.on("console", (message) => say(`console: ${message.text()}`));
  page.on("pageerror", (error) => say(`script: ${error.message}`));
  page.on("dialog", async (dialog) => { say("a dialog opened"); await dialog.dismiss(); });
  page.on("request", (request) => {
    if (!request.url().startsWith(job.base)) say(`asks elsewhere: ${request.url()}`);
  });
  const answer = await page.goto(job.base + path, { waitUntil: "load" });
  if (answer.status() !== 200) say(`status ${answer.status()}`);
  return [page, say];
}

for (const path of job.pages) {
  for (const width of [360, 800, 1280]) {
    for (const scheme of ["light", "dark"]) {
      const [page, say] = await opened(path, width, 900, scheme);
      looks += 1;
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wide > 0) say(`${wide} px wider than the window`);
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      if ((scheme === "dark") === (ground === "rgb(255, 255, 255)")) say(`its ground is ${ground}`);
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
      for (const v of found.violations) {
        say(`axe ${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join(" | ")}`);
      }
      elements += found.passes.length;
      await page.close();
    }
  }
  const [page, say] = await opened(path, 1280, 900, "light");  // by keyboard alone
  const all = await page.evaluate(() => document.querySelectorAll("a[href], button, input:not([type=hidden]), [tabindex='0']").length);
  await page.evaluate(() => document.body.focus());
  const reached = new Set();
  for (let n = 0; n < all + 2; n += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const every = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), [tabindex='0']")];
      const seen = getComputedStyle(document.activeElement);
      const inner = document.activeElement.querySelector(".cell");
      const drawn = inner ? getComputedStyle(inner).strokeWidth === "4px" : seen.outlineStyle !== "none";
      return [every.indexOf(document.activeElement), drawn];
    });
    if (at[0] < 0) break;
    if (!at[1]) say(`no focus to be seen on element ${at[0]}`);
    reached.add(at[0]);
  }
  if (reached.size !== all) say(`${reached.size} of ${all} links and fields reached by the keyboard`);
  await page.keyboard.press("Home");
  await page.close();
}

for (const picture of job.pictures) {
  const [page] = await opened(picture.path, picture.width, picture.height, picture.scheme);
  await page.screenshot({ path: picture.file });
  await page.close();
}
for (const click of job.clicks) {
  const [page, say] = await opened(click.path, 1280, 900, "light");
  await Promise.all([page.waitForNavigation(), page.click(click.button)]);
  if (page.url() !== job.base + click.then) say(`a click leads to ${page.url()}: ${await page.evaluate(() => document.body.innerText)}`);
  await page.close();
}
await browser.close();
console.log(JSON.stringify({ looks, elements, wrong }));
