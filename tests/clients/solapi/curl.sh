DATE=$(date -u +"%Y-%m-%dT%H:%M:%SZ")
SALT=$(openssl rand -hex 16)
SIGNATURE=$(echo -n "${DATE}${SALT}" | openssl dgst -sha256 -hmac "${API_SECRET}" | awk '{print $NF}')
AUTH="HMAC-SHA256 apiKey=${API_KEY}, date=${DATE}, salt=${SALT}, signature=${SIGNATURE}"

curl -sS -X PATCH "${BASE_URL}/crm-core/v1/relationships/${RELATIONSHIP_ID}" \
  -H "Authorization: ${AUTH}" \
  -H "Content-Type: application/json" \
  -d '{"metadata": {"role": "secondary", "notes": "2차 담당"}}'
