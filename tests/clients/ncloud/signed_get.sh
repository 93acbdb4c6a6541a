TIMESTAMP=$(date +%s%3N)
SIGNATURE=$(printf 'GET %s\n%s\n%s' "$APPLICATION_PATH" "$TIMESTAMP" "$ACCESS_KEY" \
  | openssl dgst -sha256 -hmac "$SECRET_KEY" -binary | base64)
curl -sS "${BASE_URL}${APPLICATION_PATH}" \
  -H "x-ncp-apigw-timestamp: $TIMESTAMP" \
  -H "x-ncp-iam-access-key: $ACCESS_KEY" \
  -H "x-ncp-apigw-signature-v2: $SIGNATURE"
