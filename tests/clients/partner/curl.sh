# The page's sample with its placeholders ("<string>", 123) filled in; every field of the page is sent.
curl -sS --request PATCH \
  --url "${BASE_URL}/partner/${PARTNER_ID}/classes/${CLASS_ID}" \
  --header "Authorization: Bearer ${TOKEN}" \
  --header 'Content-Type: application/json' \
  --data '
{
  "name": "AI 101, evening group",
  "status": "planned",
  "description": "Twelve evenings",
  "start_at": "2023-11-07T05:31:56Z",
  "end_at": "2023-12-07T05:31:56Z",
  "capacity": 123,
  "timezone": "Asia/Seoul",
  "location": "Room 2",
  "online_url": "https://meet.example.com/ai-101",
  "invite_only": true,
  "course_id": 5,
  "primary_model_id": 1,
  "allowed_model_ids": [
    1, 2
  ]
}
'
