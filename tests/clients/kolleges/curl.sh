curl -sS -X PATCH "${BASE_URL}/open-api/achievements/${ACHIEVEMENT_ID}" \
  -H "Content-Type: application/json" \
  -H "Accept: application/json" \
  -H "Authorization: Bearer $API_KEY" \
  -d '{
    "course_begin_at": "2025-04-01",
    "course_end_at": "2025-07-01",
    "admin_comment": "cURL patch test",
    "level": 2
  }'
