curl -sS -w 'Status: %{http_code}, %{size_download} bytes\n' \
  -X POST "${BASE_URL}/enrollment/${ENROLLMENT_ID}" \
  -H "Authorization: ${TOKEN}" \
  -H "Content-Type:application/xml" \
  --data-binary @"${BODY_FILE}"
