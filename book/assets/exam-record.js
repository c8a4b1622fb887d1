// What a learner has answered: recorded, read from a file, merged, summed up, and the
// rule that says when a learner is ready. Nothing here touches the document or storage.
"use strict";
globalThis.fewerBitsExam.record = (() => {
  const { isObject } = globalThis.fewerBitsExam.logic;
  const BOOK = "Fewer Bits";
  const VERSION = 1;
  const MOST_BYTES = 1e6;
  const READY = { share: 0.8, exams: 2, questions: 40 };
  const Z = 1.959964; // 95 % of a normal distribution, both sides

  const SAID = {
    big: "This file is larger than 1 MB, so it is no progress of this book; nothing was changed.",
    wrong: "This file holds no progress of this book; choose one that Export wrote. Nothing was changed.",
    newer: "This file was written by a newer edition of the book; reload this page and try again. Nothing was changed.",
  };

  // `items`: by id, how often asked, whether the last answer was right, and its date.
  const empty = () => ({ book: BOOK, version: VERSION, items: {}, exams: [] });

  function record(progress, id, right, now) {
    const tries = (progress.items[id]?.tries ?? 0) + 1;
    const entry = { tries, right, date: new Date(now).toISOString() };
    return { ...progress, items: { ...progress.items, [id]: entry } };
  }

  function recordExam(progress, exam, { results, domains, right, of }) {
    const { seed, minutes, finished } = exam;
    const entry = { date: new Date(finished).toISOString(), seed, minutes, right, of, domains };
    const items = results.filter((r) => r.given)
      .reduce((all, r) => record(all, r.item.id, r.right, finished), progress);
    return { ...items, exams: joined(progress.exams, [entry]) };
  }

  const isDate = (text) => typeof text === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text)
    && !Number.isNaN(Date.parse(text));
  const isCount = (n, least, most) => Number.isInteger(n) && n >= least && n <= most;
  const isId = (id) => /^[0-9a-z][\w.-]{0,99}$/i.test(id);
  const isEntry = (e) => isObject(e) && isCount(e.tries, 1, 1e6)
    && typeof e.right === "boolean" && isDate(e.date);
  const isScore = (s) => isObject(s) && isCount(s.of, 1, 1000) && isCount(s.right, 0, s.of);
  const isExam = (e) => isScore(e) && isDate(e.date) && Number.isFinite(e.seed) && Number.isFinite(e.minutes)
    && Array.isArray(e.domains) && e.domains.every((d) => isScore(d) && typeof d.name === "string");

  // Read what was exported or stored; throws an Error of one sentence.
  function read(text) {
    if (text.length > MOST_BYTES) throw new Error(SAID.big);
    let data;
    try { data = JSON.parse(text); } catch { throw new Error(SAID.wrong); }
    if (!isObject(data) || data.book !== BOOK) throw new Error(SAID.wrong);
    if (Number.isInteger(data.version) && data.version > VERSION) throw new Error(SAID.newer);
    const whole = data.version === VERSION && isObject(data.items) && Array.isArray(data.exams);
    if (!whole || !Object.keys(data.items).every(isId) || !Object.values(data.items).every(isEntry)
      || !data.exams.every(isExam)) throw new Error(SAID.wrong);
    return { book: BOOK, version: VERSION, items: data.items, exams: data.exams };
  }

  function joined(mine, other) {
    const all = new Map([...mine, ...other].map((exam) => [`${exam.date} ${exam.seed}`, exam]));
    return [...all.values()].sort((a, b) => (a.date < b.date ? -1 : 1));
  }

  // Put two records together. Of a question the later answer counts; importing the same
  // file twice adds nothing.
  function merge(mine, other) {
    const items = new Map(Object.entries(mine.items));
    for (const [id, entry] of Object.entries(other.items)) {
      const own = items.get(id);
      const later = !own || entry.date > own.date ? entry : own;
      items.set(id, { ...later, tries: Math.max(entry.tries, own?.tries ?? 0) });
    }
    return { ...mine, items: Object.fromEntries(items), exams: joined(mine.exams, other.exams) };
  }

  // Ids that no question of this edition has. They are kept: another edition may know them.
  function unknown(progress, items) {
    const known = new Set(items.map((item) => item.id));
    return Object.keys(progress.items).filter((id) => !known.has(id));
  }

  function summary(progress, chapters, items) {
    return chapters.map(({ slug, title }) => {
      const own = items.filter((item) => item.chapter === slug);
      const tried = own.map((item) => progress.items[item.id]).filter(Boolean);
      return { title, of: own.length, answered: tried.length, right: tried.filter((e) => e.right).length };
    });
  }

  // Wilson's 95 % interval of a share, from the number right.
  function wilson(right, of) {
    const share = right / of;
    const scale = 1 + Z ** 2 / of;
    const middle = (share + Z ** 2 / (2 * of)) / scale;
    const half = (Z * Math.sqrt((share * (1 - share)) / of + Z ** 2 / (4 * of ** 2))) / scale;
    return [middle - half, middle + half];
  }

  // The exams that the rule looks at. A form that was seen before is easier, so of a
  // seed only the first attempt counts.
  function counted(exams) {
    const seen = new Set();
    const first = exams.filter(({ seed }) => !seen.has(seed) && seen.add(seed));
    return first.filter((exam) => exam.of >= READY.questions).slice(-READY.exams);
  }

  const percent = (share) => Math.round(share * 100);

  function readiness(progress) {
    const last = counted(progress.exams);
    const passed = last.filter((exam) => exam.right >= READY.share * exam.of).length;
    const met = passed === READY.exams;
    return { met, passed, last };
  }

  const RULE = `You are ready for what this book covers when each of your last ${READY.exams} full mock exams, `
    + `of ${READY.questions} questions or more, has at least ${percent(READY.share)} % right. `
    + "Of mock exams with the same seed only the first counts.";

  return Object.freeze({
    empty, record, recordExam, read, merge, unknown, summary, wilson, readiness, percent,
    RULE, READY, SAID, MOST_BYTES, VERSION,
  });
})();
