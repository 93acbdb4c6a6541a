// What the vendor's page leaves to the reader: where, with which key, which certificate, and the page's own example body.
module.exports = {
  baseUrl: process.env.BASE_URL,
  apiKey: process.env.API_KEY,
  achievementId: process.env.ACHIEVEMENT_ID,
  body: {
    course_begin_at: "2025-04-01T00:00:00Z",
    course_end_at: "2025-07-01T00:00:00Z",
    expiration_date: "2026-04-01T00:00:00Z",
    admin_comment: "재발급 요청으로 인해 수정",
    level: 2,
  },
};
